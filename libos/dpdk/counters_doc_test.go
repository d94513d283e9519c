package dpdk

import (
	"os"
	"reflect"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/udp"
)

// TestCountersDocumented: docs/counters.md has all counters of the stack, and no others.
func TestCountersDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/counters.md")
	require.NoError(t, err)
	var documented, counted []string
	for _, m := range regexp.MustCompile("`((?:link|ip|udp|tcp)\\.[a-z_]+)`(?:,| \\|)").FindAllSubmatch(text, -1) {
		documented = append(documented, string(m[1]))
	}
	for part, counters := range map[string]any{"link": link.Counters{}, "ip": ip.Counters{}, "udp": udp.Counters{}, "tcp": tcp.Counters{}} {
		for f := range reflect.TypeOf(counters).Fields() {
			counted = append(counted, part+"."+words(f.Name))
		}
	}
	assert.ElementsMatch(t, counted, documented)
}
