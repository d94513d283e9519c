package rdma

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs/fake"
)

// TestCountersDocumented: docs/counters.md has all counters of this libOS, and no others; and all that are kept can be seen.
func TestCountersDocumented(t *testing.T) {
	var counted []string
	opt := options(t, fake.New(1))
	l := libostest.Open(t, &opt, nil)
	l.Counters(func(name string, _ uint64) {
		if name[:5] == "rdma." {
			counted = append(counted, name)
		}
	})
	libostest.CountersDocumented(t, "../../docs/counters.md", "rdma", counted)
	assert.Len(t, counted, reflect.TypeFor[counters]().NumField()+3)
}
