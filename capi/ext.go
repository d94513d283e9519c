package main

/*
#include <dmtr/types.h>
#include <sys/types.h>
*/
import "C"

import "github.com/libdmtr/libdmtr/runtime/engine"

//export dmtrGoOwn
func dmtrGoOwn(qt C.dmtr_qtoken_t) (rc C.int) {
	defer guard(&rc)
	return C.int(eng.Own(uint64(qt)))
}

//export dmtrGoTrim
func dmtrGoTrim(qd C.int, position C.off_t) (rc C.int) {
	defer guard(&rc)
	return C.int(eng.Trim(int32(qd), int64(position)))
}

//export dmtrGoUnlink
func dmtrGoUnlink(path *C.char) (rc C.int) {
	defer guard(&rc)
	return C.int(eng.Unlink(borrowed(path)))
}

//export dmtrGoWatch
func dmtrGoWatch(out *C.int, fd C.int) (rc C.int) {
	defer guard(&rc)
	qd, err := eng.Open(&engine.Args{Kind: engine.KindWatch, FD: int(fd)})
	return give(out, qd, err)
}
