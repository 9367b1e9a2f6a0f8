module image.alauda.io/client-go

go 1.26.0

require image.alauda.io/api v0.0.0

require (
	k8s.io/api v0.37.2 // indirect
	k8s.io/apimachinery v0.37.2 // indirect
	k8s.io/client-go v0.37.2 // indirect
)

replace image.alauda.io/api => ../api
