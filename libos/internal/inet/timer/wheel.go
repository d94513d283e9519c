// Package timer is a wheel of timers that a poll loop drives: time is given to it, and it starts nothing by itself.
package timer

// Owner is told when a timer expires. It may set or stop any timer then.
type Owner interface {
	Expired(t *Timer, now int64)
}

// Never is a time that does not come.
const Never = int64(1<<63 - 1)

// Timer is one timer, part of what it belongs to.
type Timer struct {
	Owner Owner
}
