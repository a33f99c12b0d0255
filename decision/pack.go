package decision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// pack compresses a plain segment. At every moment there is the plain file, or
// the whole compressed one, or both.
func pack(ctx context.Context, d *disk, dir string, number uint64) error {
	name := filepath.Join(dir, packedName(number))
	if err := packTo(ctx, d, dir, number, name+tmpExt); err != nil {
		d.remove(name + tmpExt)
		return fmt.Errorf("compressing segment %s: %w", plainName(number), err)
	}
	if err := d.remove(filepath.Join(dir, plainName(number))); err != nil {
		return fmt.Errorf("removing a compressed segment: %w", err)
	}
	return d.syncDir(dir)
}

func packTo(ctx context.Context, d *disk, dir string, number uint64, tmp string) error {
	head, err := packHead(dir, number)
	if err != nil {
		return err
	}
	plain, err := os.Open(filepath.Join(dir, plainName(number)))
	if err != nil {
		return err
	}
	defer plain.Close()
	f, err := d.create(tmp)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := d.write(f, head); err != nil {
		return err
	}
	enc, err := newEncoder()
	if err != nil {
		return err
	}
	defer enc.Close()
	var out []byte
	buf := make([]byte, frameSize)
	for n, last := 0, false; !last; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m, err := io.ReadFull(plain, buf[n:])
		if last = err == io.EOF || err == io.ErrUnexpectedEOF; err != nil && !last {
			return err
		}
		n += m
		end := n
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 && !last {
			end = i + 1 // so that damage to a frame harms no line of the next
		}
		if end > 0 {
			out = enc.EncodeAll(buf[:end], out[:0])
			if _, err := d.write(f, out); err != nil {
				return err
			}
		}
		n = copy(buf, buf[end:n])
	}
	return d.publish(f, dir, tmp, filepath.Join(dir, packedName(number)))
}

// newEncoder trades some ratio for memory: a box may have 128 MiB of it.
func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(frameSize))
}

// packHead returns the skippable frames of a compressed segment. It fails if
// the segment cannot be read to its end; damage in it is kept as it is.
func packHead(dir string, number uint64) ([]byte, error) {
	src, err := openSegment(dir, number, maxSegment+1)
	if err != nil {
		return nil, err
	}
	defer src.close()
	in := src.inspect("")
	if src.cut != nil {
		return nil, src.cut
	}
	return in.head()
}

// head returns the skippable frames of a compressed segment.
func (in *inspection) head() ([]byte, error) {
	sum, err := json.Marshal(&in.summary)
	if err != nil {
		return nil, err
	}
	if len(sum) > maxSummary {
		return nil, errors.New("its summary is too large")
	}
	enc, err := newEncoder()
	if err != nil {
		return nil, err
	}
	defer enc.Close()
	b := appendSkippable(nil, summaryMagic, sum)
	b = appendSkippable(b, rollupMagic, enc.EncodeAll(in.rollup.lines(), nil))
	return appendSkippable(b, digestMagic, enc.EncodeAll(in.summed().lines(), nil)), nil
}
