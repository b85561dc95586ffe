module gatehouse.example/tests/clients

go 1.23

require gatehouse.example/clients/go v0.0.0

replace gatehouse.example/clients/go => ../../../../clients/go
