package tcp

// renoGrow grows the window by one MSS for each window of bytes acknowledged (RFC 5681, 3.1; RFC 3465).
func (c *congestion) renoGrow(acked int) {
	c.credit += acked
	if c.credit >= c.cwnd {
		c.credit -= c.cwnd
		c.cwnd += c.mss
	}
}
