// Package cache gives hints to the processor's cache.
package cache

import "unsafe"

// Fetch has the n bytes at p brought near, all lines at a time, and does not wait for them. It never faults.
//
//go:noescape
func Fetch(p unsafe.Pointer, n uintptr)
