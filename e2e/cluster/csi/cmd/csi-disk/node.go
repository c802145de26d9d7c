package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// node mounts disks that are attached to this node.
type node struct {
	csi.UnimplementedNodeServer
	store store
	name  string
}

func (n *node) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.name}, nil
}

func (*node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	response := &csi.NodeGetCapabilitiesResponse{}
	for _, can := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
		csi.NodeServiceCapability_RPC_EXPAND_VOLUME,
	} {
		response.Capabilities = append(response.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: can}},
		})
	}
	return response, nil
}

func (n *node) NodeStageVolume(_ context.Context, request *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	if err := checkName(request.VolumeId); err != nil {
		return nil, err
	}
	directory := n.store.volume(request.VolumeId)
	attached, err := note(directory, "node")
	if err != nil {
		return nil, internal(err)
	}
	if attached != n.name {
		return nil, status.Errorf(codes.FailedPrecondition, "disk %s is attached to %q, not to %s", request.VolumeId, attached, n.name)
	}
	// A copy has the identity of what it is a copy of, and both may be mounted.
	_, err = onHost(loopDevices+`
		mkdir -p "$2"
		mountpoint -q "$2" || mount -t xfs -o loop,discard,nouuid "$1" "$2"
	`, filepath.Join(directory, "disk"), request.StagingTargetPath)
	if err != nil {
		return nil, internal(err)
	}
	// A disk made of a smaller one's snapshot gets its file system to its size.
	if err := grow(request.StagingTargetPath); err != nil {
		return nil, internal(errors.Join(err, unmount(request.StagingTargetPath)))
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

// grow makes the file system mounted there as large as its disk.
func grow(path string) error {
	_, err := onHost(loopDevices+`
		mountpoint -q "$1"
		device=$(findmnt --noheadings --first-only --output SOURCE --mountpoint "$1")
		losetup --set-capacity "${device%%[*}"
	`, path)
	if err != nil {
		return err
	}
	return inImage("xfs_growfs", "-d", inPod(path))
}

func (*node) NodeUnstageVolume(_ context.Context, request *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	return &csi.NodeUnstageVolumeResponse{}, unmount(request.StagingTargetPath)
}

func (*node) NodePublishVolume(_ context.Context, request *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	options := "bind"
	if request.Readonly {
		options = "bind,ro"
	}
	_, err := onHost(`
		mkdir -p "$2"
		mountpoint -q "$1"
		mountpoint -q "$2" || mount -o "$3" "$1" "$2"
	`, request.StagingTargetPath, request.TargetPath, options)
	if err != nil {
		return nil, internal(err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func (*node) NodeUnpublishVolume(_ context.Context, request *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	return &csi.NodeUnpublishVolumeResponse{}, unmount(request.TargetPath)
}

func (n *node) NodeExpandVolume(_ context.Context, request *csi.NodeExpandVolumeRequest) (*csi.NodeExpandVolumeResponse, error) {
	if err := checkName(request.VolumeId); err != nil {
		return nil, err
	}
	if err := grow(request.VolumePath); err != nil {
		return nil, internal(err)
	}
	has, err := size(n.store.volume(request.VolumeId))
	if err != nil {
		return nil, internal(err)
	}
	return &csi.NodeExpandVolumeResponse{CapacityBytes: has}, nil
}

func (*node) NodeGetVolumeStats(_ context.Context, request *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	said, err := onHost(`mountpoint -q "$1" || exit 1; stat --file-system --format '%S %b %f %a %c %d' "$1"`, request.VolumePath)
	if err != nil {
		return nil, status.Errorf(codes.NotFound, "%s is not mounted: %v", request.VolumePath, err)
	}
	var block, blocks, free, available, files, freeFiles int64
	if _, err := fmt.Sscan(said, &block, &blocks, &free, &available, &files, &freeFiles); err != nil {
		return nil, internal(err)
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{
		{Unit: csi.VolumeUsage_BYTES, Total: block * blocks, Used: block * (blocks - free), Available: block * available},
		{Unit: csi.VolumeUsage_INODES, Total: files, Used: files - freeFiles, Available: freeFiles},
	}}, nil
}

// unmount also frees the loop device, once it is mounted nowhere.
func unmount(path string) error {
	_, err := onHost(`
		while mountpoint -q "$1"; do umount "$1"; done
		[[ ! -d $1 ]] || rmdir "$1"
	`, path)
	if err != nil {
		return internal(err)
	}
	return nil
}
