package main

/*
#include <dmtr/types.h>
*/
import "C"

import "github.com/libdmtr/libdmtr/runtime/engine"

//export dmtrGoOwn
func dmtrGoOwn(qt C.dmtr_qtoken_t) (rc C.int) {
	defer guard(&rc)
	return C.int(eng.Own(uint64(qt)))
}

//export dmtrGoWatch
func dmtrGoWatch(out *C.int, fd C.int) (rc C.int) {
	defer guard(&rc)
	qd, err := eng.Open(&engine.Args{Kind: engine.KindWatch, FD: int(fd)})
	return give(out, qd, err)
}
