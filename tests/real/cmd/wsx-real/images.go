// Images: every name exists and holds nothing.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// imageService is the CRI's image service.
type imageService struct {
	cri.UnimplementedImageServiceServer
	directory string
}

func imageID(image *cri.ImageSpec) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(image.GetImage())))
}

// ImageStatus answers with a size: a pod whose image has none stays in CreateContainerConfigError.
func (s *imageService) ImageStatus(_ context.Context, q *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	return &cri.ImageStatusResponse{Image: &cri.Image{Id: imageID(q.Image), RepoTags: []string{q.Image.GetImage()}, Size: 1, Spec: q.Image}}, nil
}

func (s *imageService) PullImage(_ context.Context, q *cri.PullImageRequest) (*cri.PullImageResponse, error) {
	return &cri.PullImageResponse{ImageRef: imageID(q.Image)}, nil
}

func (s *imageService) ListImages(context.Context, *cri.ListImagesRequest) (*cri.ListImagesResponse, error) {
	return &cri.ListImagesResponse{}, nil
}

func (s *imageService) RemoveImage(context.Context, *cri.RemoveImageRequest) (*cri.RemoveImageResponse, error) {
	return &cri.RemoveImageResponse{}, nil
}

func (s *imageService) ImageFsInfo(context.Context, *cri.ImageFsInfoRequest) (*cri.ImageFsInfoResponse, error) {
	usage := []*cri.FilesystemUsage{{
		Timestamp:  time.Now().UnixNano(),
		FsId:       &cri.FilesystemIdentifier{Mountpoint: s.directory},
		UsedBytes:  &cri.UInt64Value{Value: 1},
		InodesUsed: &cri.UInt64Value{Value: 1},
	}}
	return &cri.ImageFsInfoResponse{ImageFilesystems: usage, ContainerFilesystems: usage}, nil
}
