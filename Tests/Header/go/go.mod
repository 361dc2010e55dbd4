module header

go 1.19
