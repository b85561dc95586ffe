// A released version is the tag clients/go/vX.Y.Z of the repository that has the tag vX.Y.Z.
module gatehouse.example/clients/go

go 1.23
