package rdma

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// deviceAddr is an address that connections to the libOS can be made to: one of this machine that its device takes.
func deviceAddr(o engine.LibOS) (addr [4]byte) {
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil || n.IP.IsLoopback() {
			continue
		}
		d := o.(*LibOS).dev
		id, err := d.Listen(&abi.SockaddrIn{Family: unix.AF_INET, Addr: [4]byte(n.IP.To4())}, 1)
		if err == 0 {
			d.Destroy(id)
			return [4]byte(n.IP.To4())
		}
	}
	return addr
}

// On a real device, if there is one: tests/vm/run --rdma has two. libdmtr-rdma.so is where LD_LIBRARY_PATH says.
func TestConformanceDevice(t *testing.T) {
	d, err := verbs.Open(&verbs.Config{})
	if err != nil {
		t.Skip(err)
	}
	d.Close()
	libostest.Run(t, libostest.Options{New: New, Addr: deviceAddr})
}
