package dpdk

import (
	"reflect"
	"testing"

	"github.com/libdmtr/libdmtr/libos/internal/inet/ip"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/libos/internal/inet/udp"
	"github.com/libdmtr/libdmtr/libos/libostest"
)

// TestCountersDocumented: docs/counters.md has all counters of the stack, and no others.
func TestCountersDocumented(t *testing.T) {
	var counted []string
	for part, counters := range map[string]any{"link": link.Counters{}, "ip": ip.Counters{}, "udp": udp.Counters{}, "tcp": tcp.Counters{}} {
		for f := range reflect.TypeOf(counters).Fields() {
			counted = append(counted, part+"."+words(f.Name))
		}
	}
	libostest.CountersDocumented(t, "../../docs/counters.md", "link|ip|udp|tcp", counted)
}
