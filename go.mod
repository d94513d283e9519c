module github.com/libdmtr/libdmtr

go 1.26.0
