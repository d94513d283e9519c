package rdma

import (
	"os"
	"reflect"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/libostest"
	"github.com/libdmtr/libdmtr/libos/rdma/verbs/fake"
)

// TestCountersDocumented: docs/counters.md has all counters of this libOS, and no others; and all that are kept can be seen.
func TestCountersDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/counters.md")
	require.NoError(t, err)
	var documented, counted []string
	for _, m := range regexp.MustCompile("`(rdma\\.[a-z_]+)`(?:,| \\|)").FindAllSubmatch(text, -1) {
		documented = append(documented, string(m[1]))
	}
	opt := options(t, fake.New(1))
	l := libostest.Open(t, &opt, nil)
	l.Counters(func(name string, _ uint64) {
		if name[:5] == "rdma." {
			counted = append(counted, name)
		}
	})
	assert.ElementsMatch(t, counted, documented)
	assert.Len(t, counted, reflect.TypeFor[counters]().NumField()+3)
}
