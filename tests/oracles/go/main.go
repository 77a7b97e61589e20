// Responds to each request, one per line on standard input, with one line: "no", or the result. The argument is the
// directory for reading and writing tiles. The protocol is that of tests/oracles/rust/src/main.rs.
package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		answer, err := answer(os.Args[1], strings.Split(lines.Text(), " "))
		if err != nil {
			answer = "no"
		}
		fmt.Println(answer)
	}
}

func answer(directory string, words []string) (string, error) {
	switch words[0] {
	case "open":
		verifier, err := note.NewVerifier(words[1])
		if err != nil {
			return "", err
		}
		bytes, err := hex.DecodeString(words[2])
		if err != nil {
			return "", err
		}
		opened, err := note.Open(bytes, note.VerifierList(verifier))
		if err != nil {
			return "", err
		}
		return hex.EncodeToString([]byte(opened.Text)), nil
	case "sign":
		signer, err := note.NewSigner(words[1])
		if err != nil {
			return "", err
		}
		text, err := hex.DecodeString(words[2])
		if err != nil {
			return "", err
		}
		signed, err := note.Sign(&note.Note{Text: string(text)}, signer)
		return hex.EncodeToString(signed), err
	case "included":
		return "ok", tlog.CheckRecord(path(words[5]), number(words[1]), hash(words[2]), number(words[3]), hash(words[4]))
	case "consistent":
		return "ok", tlog.CheckTree(path(words[5]), number(words[1]), hash(words[2]), number(words[3]), hash(words[4]))
	case "prove-included":
		proof, err := tlog.ProveRecord(number(words[1]), number(words[3]), ours(directory, words))
		return text(proof), err
	case "prove-consistent":
		proof, err := tlog.ProveTree(number(words[1]), number(words[3]), ours(directory, words))
		return text(proof), err
	case "build":
		return build(directory, number(words[1]))
	}
	return "", errors.New("unknown question")
}

// The tree of the leaves "leaf 0", "leaf 1", and so on, as tiles.
func build(directory string, size int64) (string, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for at, index := range indexes {
			hashes[at] = stored[index]
		}
		return hashes, nil
	})
	for n := int64(0); n < size; n++ {
		hashes, err := tlog.StoredHashes(n, []byte(fmt.Sprintf("leaf %d", n)), reader)
		if err != nil {
			return "", err
		}
		stored = append(stored, hashes...)
	}
	for _, tile := range tlog.NewTiles(8, 0, size) {
		data, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			return "", err
		}
		file := filepath.Join(directory, "theirs", ownPath(tile))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return "", err
		}
	}
	root, err := tlog.TreeHash(size, reader)
	return hex.EncodeToString(root[:]), err
}

// The path without the height, which C2SP does not have.
func ownPath(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
}

type tiles struct{ directory string }

func (tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		data, err := os.ReadFile(filepath.Join(t.directory, "ours", ownPath(tile)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func ours(directory string, words []string) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: number(words[1]), Hash: hash(words[2])}, tiles{directory})
}

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return value
}

func hash(text string) (hash tlog.Hash) {
	bytes, err := hex.DecodeString(text)
	if err != nil || len(bytes) != len(hash) {
		panic("not a hash: " + text)
	}
	copy(hash[:], bytes)
	return hash
}

func path(text string) (path []tlog.Hash) {
	for hex := strings.TrimPrefix(text, "-"); hex != ""; hex = hex[64:] {
		path = append(path, hash(hex[:64]))
	}
	return path
}

func text(path []tlog.Hash) string {
	all := "-"
	for _, hash := range path {
		all += hex.EncodeToString(hash[:])
	}
	return all
}
