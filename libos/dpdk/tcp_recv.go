package dpdk

import (
	"github.com/libdmtr/libdmtr/libos/internal/inet/tcp"
	"github.com/libdmtr/libdmtr/runtime/abi"
	"github.com/libdmtr/libdmtr/runtime/engine"
)

// Pop implements engine.Queue.
func (t *tcpSock) Pop(op *engine.Op) abi.Errno {
	if err := t.in.Usable(); err != 0 {
		return err
	}
	t.Pops.Add(op)
	if t.in.Wants() && t.conn != nil {
		// What this may send is but a window update, for which the time of the last poll will do.
		t.conn.Pull()
		t.os.leave()
	}
	return 0
}

// Received implements tcp.Handler: from the frame straight to the block of a pop. What no pop wants stays with the connection.
func (t *tcpSock) Received(_ *tcp.Conn, p []byte) int { return t.in.Offer(p) }
