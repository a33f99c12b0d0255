package firewall

import (
	"crypto/sha256"
	"encoding/hex"
)

// MaxText bounds the rules, in bytes.
const MaxText = 1 << 20

// HashText is the hash by which two texts of rules are told apart.
func HashText(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
