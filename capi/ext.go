package main

/*
#include <dmtr/types.h>
*/
import "C"

//export dmtrGoOwn
func dmtrGoOwn(qt C.dmtr_qtoken_t) (rc C.int) {
	defer guard(&rc)
	return C.int(eng.Own(uint64(qt)))
}
