module holdfast/tests

go 1.26

require holdfast v0.0.0

replace holdfast => ../
