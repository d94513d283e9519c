package main

/*
#include <dmtr/option.h>
*/
import "C"

import (
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
)

//export dmtrGoSetOption
func dmtrGoSetOption(qd, option C.int, value C.uint32_t) (rc C.int) {
	defer guard(&rc)
	return C.int(eng.SetOption(int32(qd), abi.Option(option), uint32(value)))
}

//export dmtrGoOption
func dmtrGoOption(qd, option C.int, out *C.uint32_t) (rc C.int) {
	defer guard(&rc)
	value, err := eng.Option(int32(qd), abi.Option(option))
	if err == 0 {
		*out = C.uint32_t(value)
	}
	return C.int(err)
}

// optionLayout tells whether both sides agree on the numbers of option.h.
func optionLayout() bool {
	return abi.OptNoDelay == C.DMTR_OPT_NODELAY && abi.OptFraming == C.DMTR_OPT_FRAMING && uint32(config.FramingStream) == C.DMTR_FRAMING_STREAM
}
