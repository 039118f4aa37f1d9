//go:build !amd64

package smstream

func pause() {}
