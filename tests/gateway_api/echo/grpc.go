package main

import (
	"encoding/binary"
	"errors"
	"io"
)

// The one call of Istio's echo service, `proto.EchoTestService/Echo`. Request and response are messages whose field 1
// is a string, so that their encoding needs no library.

const (
	grpcPath   = "/proto.EchoTestService/Echo"
	grpcType   = "application/grpc"
	maxMessage = 1 << 20
)

func writeMessage(to io.Writer, text string) error {
	body := binary.AppendUvarint([]byte{0x0a}, uint64(len(text)))
	body = append(body, text...)
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
	_, err := to.Write(append(frame, body...))
	return err
}

func readMessage(from io.Reader) (string, error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return "", err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != 0 || size > maxMessage {
		return "", errors.New("the message is compressed or too long")
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(from, body); err != nil {
		return "", err
	}
	if len(body) == 0 {
		return "", nil
	}
	length, read := binary.Uvarint(body[1:])
	if body[0] != 0x0a || read <= 0 || uint64(len(body)-1-read) < length {
		return "", errors.New("the message is not an echo message")
	}
	return string(body[1+read : 1+read+int(length)]), nil
}
