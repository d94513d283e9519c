#include "textflag.h"

// func call(fn, arg, top uintptr)
//
// The function gets the argument in DI and keeps R12, which holds Go's stack in the meantime, as the System V ABI has it.
TEXT ·call(SB), NOSPLIT, $0-24
	MOVQ fn+0(FP), AX
	MOVQ arg+8(FP), DI
	MOVQ top+16(FP), BX
	MOVQ SP, R12
	MOVQ BX, SP
	CALL AX
	MOVQ R12, SP
	RET
