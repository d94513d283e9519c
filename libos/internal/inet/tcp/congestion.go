package tcp

// Algorithm is a congestion control.
type Algorithm uint8

// Congestion controls.
const (
	Cubic Algorithm = iota
	Reno
)

// congestion is congestion control in bytes. It is used through recovery.
type congestion struct {
	algorithm Algorithm
	mss       int
	cwnd      int
	ssthresh  int
}
