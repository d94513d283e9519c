package rdma

import (
	"testing"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// deviceOptions are for libraries on a real device, if there is one: tests/vm/run --rdma has two. libdmtr-rdma.so is where LD_LIBRARY_PATH
// says.
func deviceOptions(t *testing.T) libostest.Options {
	d, err := verbs.Open(&verbs.Config{})
	if err != nil {
		t.Skip(err)
	}
	d.Close()
	return libostest.Options{Garbage: true, New: New, Addr: func(o engine.LibOS) [4]byte { return o.(*LibOS).attr.Addr }}
}

func TestConformanceDevice(t *testing.T) { libostest.Run(t, deviceOptions(t)) }
