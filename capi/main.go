// Package main is the C ABI of libdmtr, built with -buildmode=c-shared. The functions of include/dmtr are C, in
// front.c and wait.c: they check arguments, take the lock and, where Go is needed, call what is exported here.
//
// A panic must not reach C. Each export catches it, writes one line on stderr, and answers EIO from then on.
package main

/*
#cgo CFLAGS: -O2 -Wall -Wextra -Werror -fno-strict-aliasing -I${SRCDIR}/../include
#include <dmtr/types.h>
#include <stdint.h>
#include <stdlib.h>

extern const uint32_t dmtr_shared_layout[], dmtr_shared_count;
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/config"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

func main() {}

// eng is the engine, once dmtr_init has succeeded. The front's lock guards it.
var eng *engine.Engine

// broken is set for good when the engine has panicked.
var broken bool

// guard turns a panic into EIO. Afterwards there is no engine, so that every call that needs one ends here, too.
func guard(rc *C.int) {
	p := recover()
	if p == nil {
		return
	}
	*rc = C.int(unix.EIO)
	if broken {
		return
	}
	broken = true
	report("internal error: %v", p)
	if eng != nil {
		ctl := eng.Control()
		ctl.Broken = 1
		ctl.Port = abi.Port{Pop: abi.None}
		eng = nil
	}
}

// report writes a line on stderr. Go's os.Stderr would end the process if it is a closed pipe.
func report(format string, args ...any) {
	_, _ = unix.Write(2, fmt.Appendf(nil, "libdmtr: "+format+"\n", args...))
}

// getenv asks C, because Go's copy of the environment is as old as the library's loading.
func getenv(name string) string {
	n := C.CString(name)
	defer C.free(unsafe.Pointer(n))
	return C.GoString(C.getenv(n))
}

func checkLayout() bool {
	var t abi.Token
	var c abi.Control
	var s abi.SGArray
	var r abi.QResult
	var a abi.AcceptResult
	var p abi.Port
	var l abi.Lane
	want := []uintptr{
		unsafe.Sizeof(t), unsafe.Offsetof(t.State), unsafe.Offsetof(t.Hint),
		unsafe.Offsetof(t.Flags), unsafe.Offsetof(t.Result),
		unsafe.Sizeof(c), unsafe.Offsetof(c.Want), unsafe.Offsetof(c.SpinNs), unsafe.Offsetof(c.Forked), unsafe.Offsetof(c.Polls),
		unsafe.Offsetof(c.Ready), unsafe.Offsetof(c.Free), unsafe.Offsetof(c.NumFds),
		unsafe.Offsetof(c.Port), unsafe.Offsetof(c.Scratch), unsafe.Offsetof(c.Order),
		unsafe.Sizeof(c.Order), unsafe.Offsetof(c.Order.Place), unsafe.Offsetof(c.Order.Events), abi.MaxEvents,
		unsafe.Offsetof(c.Chunks), unsafe.Offsetof(c.Hints), unsafe.Offsetof(c.Lanes),
		unsafe.Sizeof(p), unsafe.Offsetof(p.Address),
		unsafe.Sizeof(l), unsafe.Offsetof(l.Flags), uintptr(abi.LaneMessage), uintptr(abi.LanePush), uintptr(abi.LanePop),
		unsafe.Sizeof(s), unsafe.Offsetof(s.Addr), unsafe.Sizeof(r),
		unsafe.Offsetof(r.SGA), unsafe.Sizeof(a), unsafe.Offsetof(a.Len),
		uintptr(abi.TokenFree), uintptr(abi.TokenPending), uintptr(abi.TokenDone),
		uintptr(abi.FlagOwned), uintptr(abi.FlagBytes), uintptr(abi.FlagSeen), uintptr(abi.FlagParked),
		uintptr(abi.PortMessage), uintptr(abi.PortDatagram), uintptr(abi.PortConnected), uintptr(abi.PortPop),
		abi.ScratchLen, abi.MaxWaitFds, abi.MaxChunks, abi.IndexBits, abi.QDIndexBits,
		uintptr(config.WaitAdaptive), uintptr(config.WaitSpin), uintptr(config.WaitBlock),
		abi.MaxSegs, abi.HeaderMagic, uintptr(abi.None),
	}
	if int(C.dmtr_shared_count) != len(want) {
		return false
	}
	got := unsafe.Slice((*uint32)(unsafe.Pointer(&C.dmtr_shared_layout)), len(want))
	for i, w := range want {
		if uintptr(got[i]) != w {
			return false
		}
	}
	return true
}

//export dmtrGoInit
func dmtrGoInit(argc C.int, argv **C.char, selected *C.char, ctl *unsafe.Pointer) (rc C.int) {
	defer guard(&rc)
	if broken {
		return C.int(unix.EIO)
	}
	if !checkLayout() || !statsLayout() || !optionLayout() {
		panic("the Go and C sides of the library do not belong together")
	}
	args := make([]string, 0, argc)
	for _, a := range unsafe.Slice(argv, argc) {
		if a == nil {
			break
		}
		args = append(args, C.GoString(a))
	}
	e, err := start(args, C.GoString(selected))
	if err != nil {
		report("%v", err)
		return C.int(errnoOf(err))
	}
	eng = e
	*ctl = unsafe.Pointer(e.Control())
	return 0
}

//export dmtrGoQueue
func dmtrGoQueue(out *C.int) (rc C.int) {
	defer guard(&rc)
	qd, err := eng.Queue()
	return give(out, qd, err)
}

//export dmtrGoSocket
func dmtrGoSocket(out *C.int, domain, typ, protocol C.int) (rc C.int) {
	defer guard(&rc)
	a, err := socketArgs(int(domain), int(typ), int(protocol))
	if err != 0 {
		return C.int(err)
	}
	qd, err := eng.Open(&a)
	return give(out, qd, err)
}

func socketArgs(domain, typ, protocol int) (a engine.Args, err abi.Errno) {
	if domain != unix.AF_INET {
		return a, unix.EAFNOSUPPORT
	}
	fits := 0
	switch typ &^ (unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC) {
	case unix.SOCK_STREAM:
		a.Kind, fits = engine.KindStream, unix.IPPROTO_TCP
	case unix.SOCK_DGRAM:
		a.Kind, fits = engine.KindDatagram, unix.IPPROTO_UDP
	default:
		return a, unix.ESOCKTNOSUPPORT
	}
	if protocol != 0 && protocol != fits {
		return a, unix.EPROTONOSUPPORT
	}
	return a, 0
}

//export dmtrGoOpen
func dmtrGoOpen(out *C.int, path *C.char, flags C.int, mode C.uint) (rc C.int) {
	defer guard(&rc)
	qd, err := eng.Open(&engine.Args{Kind: engine.KindFile, Path: borrowed(path), Flags: int(flags), Mode: uint32(mode)})
	return give(out, qd, err)
}

// borrowed is a path of the program's, at most as long as one may be, where it is. A copy would be garbage.
func borrowed(path *C.char) string {
	n := 0
	for n < unix.PathMax && *(*byte)(unsafe.Add(unsafe.Pointer(path), n)) != 0 {
		n++
	}
	return unsafe.String((*byte)(unsafe.Pointer(path)), n)
}

func give(out *C.int, qd int32, err abi.Errno) C.int {
	if err == 0 {
		*out = C.int(qd)
	}
	return C.int(err)
}

//export dmtrGoGetsockname
func dmtrGoGetsockname(qd C.int, out *C.struct_sockaddr_in) (rc C.int) {
	defer guard(&rc)
	s, err := eng.Socket(int32(qd))
	if err != 0 {
		return C.int(err)
	}
	name, err := s.Name()
	*(*abi.SockaddrIn)(unsafe.Pointer(out)) = name
	return C.int(err)
}

//export dmtrGoListen
func dmtrGoListen(qd, backlog C.int) (rc C.int) {
	defer guard(&rc)
	s, err := eng.Socket(int32(qd))
	if err != 0 {
		return C.int(err)
	}
	return C.int(s.Listen(int(backlog)))
}

//export dmtrGoBind
func dmtrGoBind(qd C.int, addr *C.struct_sockaddr_in) (rc C.int) {
	defer guard(&rc)
	s, err := eng.Socket(int32(qd))
	if err != 0 {
		return C.int(err)
	}
	return C.int(s.Bind((*abi.SockaddrIn)(unsafe.Pointer(addr))))
}

//export dmtrGoConnect
func dmtrGoConnect(out *C.dmtr_qtoken_t, qd C.int, addr *C.struct_sockaddr_in) (rc C.int) {
	defer guard(&rc)
	qt, err := eng.Connect(int32(qd), (*abi.SockaddrIn)(unsafe.Pointer(addr)))
	return giveToken(out, qt, err)
}

//export dmtrGoAccept
func dmtrGoAccept(out *C.dmtr_qtoken_t, qd C.int) (rc C.int) {
	defer guard(&rc)
	qt, err := eng.Accept(int32(qd))
	return giveToken(out, qt, err)
}

//export dmtrGoPush
func dmtrGoPush(out *C.dmtr_qtoken_t, qd C.int, sga *C.dmtr_sgarray_t, sent C.int64_t) (rc C.int) {
	defer guard(&rc)
	qt, err := eng.PushRest(int32(qd), (*abi.SGArray)(unsafe.Pointer(sga)), int(sent))
	return giveToken(out, qt, err)
}

//export dmtrGoPop
func dmtrGoPop(out *C.dmtr_qtoken_t, qd C.int, count C.size_t) (rc C.int) {
	defer guard(&rc)
	qt, err := eng.Pop(int32(qd), uint64(count))
	return giveToken(out, qt, err)
}

func giveToken(out *C.dmtr_qtoken_t, qt uint64, err abi.Errno) C.int {
	if err == 0 {
		*out = C.dmtr_qtoken_t(qt)
	}
	return C.int(err)
}

//export dmtrGoLseek
func dmtrGoLseek(qd C.int, offset C.off_t, whence C.int) (rc C.int) {
	defer guard(&rc)
	return C.int(eng.Lseek(int32(qd), int64(offset), int(whence)))
}

//export dmtrGoClose
func dmtrGoClose(qd C.int) (rc C.int) {
	defer guard(&rc)
	return C.int(eng.CloseQueue(int32(qd)))
}

//export dmtrGoIsValid
func dmtrGoIsValid(out *C.int, qd C.int) (rc C.int) {
	defer guard(&rc)
	if eng.Valid(int32(qd)) {
		*out = 1
	}
	return 0
}

//export dmtrGoDrop
func dmtrGoDrop(qt C.dmtr_qtoken_t) (rc C.int) {
	defer guard(&rc)
	return C.int(eng.Drop(uint64(qt)))
}

//export dmtrGoDrive
func dmtrGoDrive(rounds C.int) (rc C.int) {
	defer guard(&rc)
	eng.Drive(int(rounds))
	return 0
}

//export dmtrGoGot
func dmtrGoGot(n C.int64_t) (rc C.int) {
	defer guard(&rc)
	eng.Got(int(n))
	return 0
}

//export dmtrGoFinish
func dmtrGoFinish() (rc C.int) {
	defer guard(&rc)
	eng.Finish()
	return 0
}

//export dmtrGoArm
func dmtrGoArm() (rc C.int) {
	defer guard(&rc)
	eng.Arm()
	return 0
}

// dmtrGoLost gives the engine up: without its descriptors it would not learn of anything that happens.
//
//export dmtrGoLost
func dmtrGoLost() (rc C.int) {
	defer guard(&rc)
	panic("the program has closed descriptors of the library")
}

// errnoOf is the errno in an error of start.
func errnoOf(err error) abi.Errno {
	var e *startError
	if errors.As(err, &e) {
		return e.errno
	}
	return config.Errno(err)
}
