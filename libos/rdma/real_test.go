package rdma

import (
	"testing"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// On a real device, if there is one: tests/vm/run --rdma has two. libdmtr-rdma.so is where LD_LIBRARY_PATH says.
func TestConformanceDevice(t *testing.T) {
	d, err := verbs.Open(&verbs.Config{})
	if err != nil {
		t.Skip(err)
	}
	d.Close()
	libostest.Run(t, libostest.Options{Garbage: true, New: New, Addr: func(o engine.LibOS) [4]byte { return o.(*LibOS).attr.Addr }})
}
