package abi

// Option is enum dmtr_option.
type Option int32

// The options of a socket.
const (
	OptNoDelay Option = iota + 1
	OptKeepalive
	OptKeepInterval
	OptKeepProbes
	OptUserTimeout
	OptTTL
	OptDSCP
	OptFraming
)
