package clock

// Count reads the processor's time stamp counter, which counts some times a nanosecond.
func Count() uint64
