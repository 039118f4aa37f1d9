module github.com/smstream/smstream/peers/go

go 1.22
