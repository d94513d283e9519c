package inet

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libdmtr/libdmtr/libos/internal/inet/link"
	"github.com/libdmtr/libdmtr/libos/internal/inet/link/linktest"
	"github.com/libdmtr/libdmtr/runtime/abi"
)

// TestKernelTCPLoss: bytes both ways at once, with the kernel, over a tap that loses, doubles, reorders and spoils
// frames. How fast that goes is measured by tests/bench/goodput.py.
func TestKernelTCPLoss(t *testing.T) {
	n := linktest.NewNamespace(t)
	tap := n.Tap(t, link.TapConfig{})
	n.Enter(t)
	require.Zero(t, tap.Up(kernelAddr, 24))
	bad := link.Impairment{Loss: 0.03, Duplicate: 0.01, Reorder: 0.01, Corrupt: 0.01, Delay: 1e6}
	fault := link.NewFault(tap, link.FaultConfig{Seed: 1, Receive: bad, Send: bad})
	k := newKernel(t, fault, n, tap.Info().Name)

	data := pattern(1 << 20)
	p := &program{out: data, done: true}
	k.listen(p)
	fd := k.dial(7)
	require.NoError(t, k.dialled(fd))
	got, err := k.pump(fd, data)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(data, got))
	q := p.accepted[0]
	k.until("end", func() bool { return len(q.ended) > 0 })
	assert.Equal(t, []abi.Errno{0}, q.ended)
	assert.True(t, bytes.Equal(data, q.got))
	q.conn.Close()

	in, out := fault.Faults()
	for _, f := range []*link.Faults{in, out} {
		assert.Positive(t, f.Lost)
		assert.Positive(t, f.Duplicated)
		assert.Positive(t, f.Corrupted)
		assert.Positive(t, f.Reordered)
		assert.Zero(t, f.Overflowed)
	}
	c := &k.stack.TCP().Counters
	assert.Positive(t, c.Retransmits)
	assert.Positive(t, c.FastRetransmits)
	assert.Positive(t, c.OutOfOrder)
	assert.Zero(t, c.Timeouts)
}
