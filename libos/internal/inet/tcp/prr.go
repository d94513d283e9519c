package tcp

// prr spreads the reduction of the window over the ACKs of a recovery (RFC 9937). Names are those of the RFC.
type prr struct {
	delivered int
	out       int
	recoverFS int
}

// enter begins a recovery; the call of onAck for the same ACK follows. outstanding is SND.NXT - SND.UNA, acked and
// newlySacked are what this ACK brought, sacked what is SACKed by now.
func (p *prr) enter(outstanding, acked, sacked, newlySacked int) {
	*p = prr{recoverFS: max(1, outstanding+acked-(sacked-newlySacked))}
}

// onAck returns the congestion window after an ACK in recovery. safe: SND.UNA moved and no further loss showed.
func (p *prr) onAck(delivered, pipe, ssthresh, mss int, safe bool) int {
	p.delivered += delivered
	n := 0
	if pipe > ssthresh {
		n = (p.delivered*ssthresh+p.recoverFS-1)/p.recoverFS - p.out
	} else {
		n = max(p.delivered-p.out, delivered)
		if safe {
			n += mss
		}
		n = min(ssthresh-pipe, n)
	}
	if n = max(n, 0); p.out == 0 {
		n = max(n, mss) // the first retransmission leaves at once
	}
	return pipe + n
}
