package verbs

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestStatusErrno(t *testing.T) {
	assert.Zero(t, StatusErrno(StatusSuccess))
	for status := 1; status < 256; status++ {
		assert.NotZero(t, StatusErrno(uint8(status)), "status %d", status)
	}
}
