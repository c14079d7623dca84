package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/understudy-sip/understudy/raftstore"
)

// store writes NAME.crt and NAME.key, the key readable for its owner only. What is there is left alone unless forced; then each file is
// replaced in one step.
func (o pkiOptions) store(name string, pair raftstore.Pair) error {
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the certificates: %w", err)
	}
	key, cert := o.path(name+".key"), o.path(name+".crt")
	if !o.force {
		for _, path := range []string{key, cert} {
			if _, err := os.Lstat(path); err == nil {
				return &hinted{Err: fmt.Errorf("%s is there already", path), Hint: "nothing was written; --force overwrites it"}
			}
		}
	}
	if err := o.write(key, pair.Key, 0o600); err != nil {
		return err
	}
	return o.write(cert, pair.Cert, 0o644)
}

// write makes a file with its mode from its first moment. Unforced it fails if somebody else was faster.
func (o pkiOptions) write(path string, content []byte, mode fs.FileMode) (err error) {
	at := path
	if o.force {
		at = path + ".new"
		_ = os.Remove(at) // of an attempt that was cut off
	}
	file, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err == nil && o.force {
		err = os.Rename(at, path)
	}
	if err != nil {
		_ = os.Remove(at)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func (o pkiOptions) readCA() (raftstore.Pair, error) {
	cert, err := os.ReadFile(o.path("ca.crt"))
	if err == nil {
		var key []byte
		if key, err = os.ReadFile(o.path("ca.key")); err == nil {
			return raftstore.Pair{Cert: cert, Key: key}, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return raftstore.Pair{}, &hinted{Err: fmt.Errorf("there is no CA in %s: %w", o.dir, err), Hint: "`understudy pki init` makes one; --dir names its folder"}
	}
	return raftstore.Pair{}, fmt.Errorf("read the CA: %w", err)
}
