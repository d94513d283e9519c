package posix_test

import (
	"testing"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/posix"
)

func TestConformance(t *testing.T) {
	libostest.Run(t, libostest.Options{New: posix.New})
}
