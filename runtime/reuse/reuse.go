// Package reuse keeps objects that are made and given up while the program runs: connections, sockets, files. In a process that was
// forked before dmtr_init nobody collects garbage, so they must not become any.
//
// # Threading
//
// None; see package engine.
package reuse

// List has objects of one type to be used again.
type List[T any] struct{ spare []*T }

// Get returns an object, which is zero.
func (l *List[T]) Get() *T {
	n := len(l.spare)
	if n == 0 {
		return new(T)
	}
	x := l.spare[n-1]
	l.spare = l.spare[:n-1]
	return x
}

// Put takes back an object to which nobody refers any more, and makes it zero.
func (l *List[T]) Put(x *T) {
	var zero T
	*x = zero
	l.spare = append(l.spare, x)
}
