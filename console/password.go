package console

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Bounds of a password: in characters, and in bytes.
const (
	MinPassword = 10
	maxPassword = 1024
)

// The cost of a new hash: the least that OWASP's Password Storage Cheat Sheet has for
// argon2id, of the choices with the least memory that is still out of proportion for
// graphics cards. 19 MiB are there also on a router with 64 MiB. Two passes are 76 ms of one
// core of a server; a small ARM takes some times that, a MIPS router seconds. One is computed
// at a time.
const (
	hashMemory  = 19 << 10 // KiB
	hashTime    = 2        // passes
	hashThreads = 1
	saltLength  = 16
	keyLength   = 32
)

// What a hash of another maker may cost.
const (
	maxHashMemory  = 64 << 10
	maxHashTime    = 10
	maxHashThreads = 4
	maxHashBytes   = 64 // of its salt, and of its key
	maxHashText    = 512
)

// CheckPassword says what is wrong with a new password.
func CheckPassword(password string) error {
	switch {
	case !utf8.ValidString(password):
		return errors.New("the password is not UTF-8; choose one that can be typed on any keyboard")
	case utf8.RuneCountInString(password) < MinPassword:
		return fmt.Errorf("the password is too short; choose one of %d characters or more, for instance four words", MinPassword)
	case len(password) > maxPassword:
		return fmt.Errorf("the password is longer than %d bytes; choose a shorter one", maxPassword)
	}
	return nil
}

// HashPassword returns the argon2id hash of a password (RFC 9106), with a salt of its own,
// in the form of the Password Hashing Competition. It takes 19 MiB while it is computed.
func HashPassword(password string) string {
	h := passwordHash{memory: hashMemory, time: hashTime, threads: hashThreads, salt: make([]byte, saltLength)}
	rand.Read(h.salt) // never fails
	h.key = h.derive(password, keyLength)
	return h.String()
}

// A passwordHash is what a password is checked against.
type passwordHash struct {
	memory, time uint32 // KiB, passes
	threads      uint8
	salt, key    []byte
}

const hashForm = "$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s"

var hashCoding = base64.RawStdEncoding.Strict()

func (h passwordHash) String() string {
	return fmt.Sprintf(hashForm, argon2.Version, h.memory, h.time, h.threads,
		hashCoding.EncodeToString(h.salt), hashCoding.EncodeToString(h.key))
}

func (h passwordHash) derive(password string, length int) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(length))
}

func (h passwordHash) matches(password string) bool {
	return len(password) <= maxPassword && subtle.ConstantTimeCompare(h.derive(password, len(h.key)), h.key) == 1
}

// parseHash reads a hash as String writes it, and nothing that would cost the box more
// than it can bear.
func parseHash(text string) (h passwordHash, err error) {
	fields := strings.Split(text, "$")
	if len(text) > maxHashText || len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != "v="+strconv.Itoa(argon2.Version) {
		return h, errors.New("not an argon2id hash")
	}
	costs := strings.Split(fields[3], ",")
	if len(costs) != 3 {
		return h, errors.New("not the costs of an argon2id hash")
	}
	var numbers [3]uint64
	for i, key := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(costs[i], key)
		numbers[i], err = strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil {
			return h, fmt.Errorf("%s is not a cost of argon2id", strconv.Quote(costs[i]))
		}
	}
	m, t, p := numbers[0], numbers[1], numbers[2]
	if p < 1 || p > maxHashThreads || t < 1 || t > maxHashTime || m < 8*p || m > maxHashMemory {
		return h, errors.New("the costs of the hash are out of bounds")
	}
	h.memory, h.time, h.threads = uint32(m), uint32(t), uint8(p)
	for i, to := range []*[]byte{&h.salt, &h.key} {
		if *to, err = hashCoding.DecodeString(fields[4+i]); err != nil || len(*to) < saltLength || len(*to) > maxHashBytes {
			return h, errors.New("the salt or the key of the hash is not good")
		}
	}
	if h.String() != text {
		return h, errors.New("not an argon2id hash as it is written")
	}
	return h, nil
}
