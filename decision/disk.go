package decision

import (
	"os"
	"syscall"
)

// disk is what the journal does to the file system, so that tests can let each
// of it fail. Reading goes past it.
type disk struct {
	create   func(name string) (*os.File, error) // empty, for writing
	write    func(f *os.File, b []byte) (int, error)
	sync     func(f *os.File) error // content and length, on the disk when it returns
	truncate func(f *os.File, size int64) error
	rename   func(from, to string) error
	remove   func(name string) error
	syncDir  func(dir string) error // names, on the disk when it returns
}

func realDisk() disk {
	return disk{
		create: func(name string) (*os.File, error) {
			return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
		},
		write:    (*os.File).Write,
		sync:     fdatasync,
		truncate: (*os.File).Truncate,
		rename:   os.Rename,
		remove:   os.Remove,
		syncDir: func(dir string) error {
			f, err := os.Open(dir)
			if err != nil {
				return err
			}
			defer f.Close()
			return f.Sync()
		},
	}
}

// fdatasync leaves out the times of the file, which would be one more block.
func fdatasync(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno error
	err = c.Control(func(fd uintptr) {
		for {
			if errno = syscall.Fdatasync(int(fd)); errno != syscall.EINTR {
				return
			}
		}
	})
	if errno != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: errno}
	}
	return err
}

// publish makes tmp, which was written through f, the file name: after a crash
// at any point there is the whole file or none.
func (d *disk) publish(f *os.File, dir, tmp, name string) error {
	if err := d.sync(f); err != nil {
		return err
	}
	if err := d.rename(tmp, name); err != nil {
		return err
	}
	return d.syncDir(dir)
}
