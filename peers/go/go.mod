module smstream.example/go/smstream

go 1.22
