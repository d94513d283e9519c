package clock

// count reads the processor's time stamp counter.
func count() uint64
