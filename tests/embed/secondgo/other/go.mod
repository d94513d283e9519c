module secondgo

go 1.21
