package dpdk

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCounterNames(t *testing.T) {
	for field, want := range map[string]string{
		"Received": "received", "RxFrames": "rx_frames", "PAWSDrops": "paws_drops", "BadACKs": "bad_acks", "RTOs": "rtos",
		"NoMemory": "no_memory", "ARPRequestsSent": "arp_requests_sent", "PathMTU": "path_mtu",
	} {
		assert.Equal(t, want, words(field))
	}
}
