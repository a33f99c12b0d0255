package proxy

// A chunkReader follows a chunked body (RFC 9112 §7.1) byte by byte to its end. It
// takes sizes of 1 to 8 hexadecimal digits, and neither chunk extensions nor
// trailers: clients don't send them, and programs don't agree on where they end.
type chunkReader struct {
	state  chunkState
	digits int
	left   int64 // of the chunk
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkEndCR
	chunkEndLF
	chunkDone
)

const maxChunkDigits = 8

// read returns how many bytes of p belong to the body, whether it ends with them, and
// else whether the next one may follow.
func (c *chunkReader) read(p []byte) (n int, end, ok bool) {
	for n < len(p) {
		if c.state == chunkData {
			k := min(c.left, int64(len(p)-n))
			n += int(k)
			if c.left -= k; c.left == 0 {
				c.state = chunkDataCR
			}
			continue
		}
		if !c.step(p[n]) {
			return n, false, false
		}
		n++
		if c.state == chunkDone {
			return n, true, true
		}
	}
	return n, false, true
}

// step takes one byte of what is between the data.
func (c *chunkReader) step(b byte) bool {
	switch c.state {
	case chunkSize:
		if digit, ok := hexDigit(b); ok && c.digits < maxChunkDigits {
			c.left = c.left<<4 | digit
			c.digits++
			return true
		}
		c.state = chunkSizeLF
		return b == '\r' && c.digits > 0
	case chunkSizeLF:
		c.state = chunkData
		if c.left == 0 {
			c.state = chunkEndCR
		}
		return b == '\n'
	case chunkDataCR:
		c.state = chunkDataLF
		return b == '\r'
	case chunkDataLF:
		c.state, c.digits = chunkSize, 0
		return b == '\n'
	case chunkEndCR:
		c.state = chunkEndLF
		return b == '\r'
	case chunkEndLF:
		c.state = chunkDone
		return b == '\n'
	}
	return false
}

func hexDigit(b byte) (int64, bool) {
	switch {
	case '0' <= b && b <= '9':
		return int64(b - '0'), true
	case 'a' <= b && b <= 'f':
		return int64(b-'a') + 10, true
	case 'A' <= b && b <= 'F':
		return int64(b-'A') + 10, true
	}
	return 0, false
}
