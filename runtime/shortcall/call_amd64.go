package shortcall

// call calls fn(arg) on the stack that ends at top.
//
//go:noescape
func call(fn, arg, top uintptr)
