module tusd-s3-benchmark-peer

go 1.24

require github.com/tus/tusd/v2 v2.9.2

tool github.com/tus/tusd/v2/cmd/tusd
