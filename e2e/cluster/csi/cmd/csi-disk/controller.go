package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	mebi = 1 << 20
	// smallest is what mkfs.xfs asks for.
	smallest = 300 * mebi
	// defaultSize is for those who ask for none.
	defaultSize = 1 << 30
	// largest is the size of the largest disk to be had, so that there is one that can't.
	largest = 64 << 30
)

// controller makes, attaches, grows and copies disks, one call at a time: a
// call that is repeated because it took long finds the work done.
type controller struct {
	csi.UnimplementedControllerServer
	store store
	one   sync.Mutex
}

func (*controller) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	response := &csi.ControllerGetCapabilitiesResponse{}
	for _, can := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_PUBLISH_UNPUBLISH_VOLUME,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
	} {
		response.Capabilities = append(response.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: can}},
		})
	}
	return response, nil
}

func (c *controller) CreateVolume(_ context.Context, request *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	c.one.Lock()
	defer c.one.Unlock()
	if err := checkName(request.Name); err != nil {
		return nil, err
	}
	if err := checkCapabilities(request.VolumeCapabilities); err != nil {
		return nil, err
	}
	wanted, err := wantedSize(request.CapacityRange)
	if err != nil {
		return nil, err
	}
	source := request.GetVolumeContentSource().GetSnapshot().GetSnapshotId()
	if request.VolumeContentSource != nil && source == "" {
		return nil, status.Error(codes.InvalidArgument, "a disk can be made of a snapshot, and of nothing else")
	}
	directory := c.store.volume(request.Name)
	has, err := size(directory)
	if err != nil {
		return nil, internal(err)
	}
	if has == 0 {
		if has, err = c.make(directory, wanted, source); err != nil {
			return nil, err
		}
	} else if was, err := note(directory, "source"); err != nil || was != source || has < wanted {
		return nil, status.Errorf(codes.AlreadyExists, "disk %s has %d bytes and source %q", request.Name, has, was)
	}
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId:      request.Name,
		CapacityBytes: has,
		ContentSource: request.VolumeContentSource,
	}}, nil
}

// make makes a disk, empty or as the snapshot has it, and returns its size.
func (c *controller) make(directory string, wanted int64, source string) (int64, error) {
	unfinished, err := begin(directory)
	if err != nil {
		return 0, internal(err)
	}
	disk := filepath.Join(unfinished, "disk")
	if source == "" {
		if err := newDisk(disk, wanted); err != nil {
			return 0, internal(err)
		}
	} else {
		if err := checkName(source); err != nil {
			return 0, err
		}
		had, err := size(c.store.snapshot(source))
		if err != nil {
			return 0, internal(err)
		}
		if had == 0 {
			return 0, status.Errorf(codes.NotFound, "there is no snapshot %s", source)
		}
		if had > wanted {
			return 0, status.Errorf(codes.OutOfRange, "the snapshot's disk has %d bytes, more than %d", had, wanted)
		}
		if err := copyDisk(filepath.Join(c.store.snapshot(source), "disk"), disk); err != nil {
			return 0, internal(err)
		}
		// The file system follows when the disk is first mounted.
		if err := os.Truncate(inPod(disk), wanted); err != nil {
			return 0, internal(err)
		}
	}
	if err := setNote(unfinished, "source", source); err != nil {
		return 0, internal(err)
	}
	if err := finish(unfinished, directory); err != nil {
		return 0, internal(err)
	}
	return wanted, nil
}

func (c *controller) DeleteVolume(_ context.Context, request *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	c.one.Lock()
	defer c.one.Unlock()
	if err := checkName(request.VolumeId); err != nil {
		return nil, err
	}
	directory := c.store.volume(request.VolumeId)
	if node, err := note(directory, "node"); err != nil || node != "" {
		return nil, status.Errorf(codes.FailedPrecondition, "disk %s is attached to %s", request.VolumeId, node)
	}
	if err := remove(directory); err != nil {
		return nil, internal(err)
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (c *controller) ControllerPublishVolume(_ context.Context, request *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	c.one.Lock()
	defer c.one.Unlock()
	directory, _, err := c.existing(request.VolumeId)
	if err != nil {
		return nil, err
	}
	node, err := note(directory, "node")
	if err != nil {
		return nil, internal(err)
	}
	if node != "" && node != request.NodeId {
		return nil, status.Errorf(codes.FailedPrecondition, "disk %s is attached to %s", request.VolumeId, node)
	}
	if err := setNote(directory, "node", request.NodeId); err != nil {
		return nil, internal(err)
	}
	return &csi.ControllerPublishVolumeResponse{}, nil
}

// ControllerUnpublishVolume takes the disk from its node. One that the node
// still has mounted, because it is stalled or cut off, goes on with the copy
// that it has; what it writes from now on reaches nobody, as with a disk whose
// cable is pulled.
func (c *controller) ControllerUnpublishVolume(_ context.Context, request *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	c.one.Lock()
	defer c.one.Unlock()
	done := &csi.ControllerUnpublishVolumeResponse{}
	if err := checkName(request.VolumeId); err != nil {
		return nil, err
	}
	directory := c.store.volume(request.VolumeId)
	node, err := note(directory, "node")
	if err != nil {
		return nil, internal(err)
	}
	if node == "" || (request.NodeId != "" && node != request.NodeId) {
		return done, nil
	}
	disk := filepath.Join(directory, "disk")
	mounted, err := inUse(disk)
	if err != nil {
		return nil, internal(err)
	}
	if mounted {
		if err := copyDisk(disk, disk); err != nil {
			return nil, internal(err)
		}
	}
	if err := setNote(directory, "node", ""); err != nil {
		return nil, internal(err)
	}
	return done, nil
}

func (c *controller) ControllerExpandVolume(_ context.Context, request *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	c.one.Lock()
	defer c.one.Unlock()
	directory, has, err := c.existing(request.VolumeId)
	if err != nil {
		return nil, err
	}
	wanted, err := wantedSize(request.CapacityRange)
	if err != nil {
		return nil, err
	}
	if wanted > has {
		if err := os.Truncate(inPod(filepath.Join(directory, "disk")), wanted); err != nil {
			return nil, internal(err)
		}
		has = wanted
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: has, NodeExpansionRequired: true}, nil
}

func (c *controller) ValidateVolumeCapabilities(_ context.Context, request *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if _, _, err := c.existing(request.VolumeId); err != nil {
		return nil, err
	}
	if err := checkCapabilities(request.VolumeCapabilities); err != nil {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: err.Error()}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{
		Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{VolumeCapabilities: request.VolumeCapabilities},
	}, nil
}

func (c *controller) CreateSnapshot(_ context.Context, request *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	c.one.Lock()
	defer c.one.Unlock()
	if err := checkName(request.Name); err != nil {
		return nil, err
	}
	directory := c.store.snapshot(request.Name)
	has, err := size(directory)
	if err != nil {
		return nil, internal(err)
	}
	if has == 0 {
		volume, _, err := c.existing(request.SourceVolumeId)
		if err != nil {
			return nil, err
		}
		unfinished, err := begin(directory)
		if err != nil {
			return nil, internal(err)
		}
		if err := copyDisk(filepath.Join(volume, "disk"), filepath.Join(unfinished, "disk")); err != nil {
			return nil, internal(err)
		}
		if err := setNote(unfinished, "source", request.SourceVolumeId); err != nil {
			return nil, internal(err)
		}
		if err := finish(unfinished, directory); err != nil {
			return nil, internal(err)
		}
	}
	snapshot, err := c.describe(request.Name)
	if err != nil {
		return nil, err
	}
	if snapshot.SourceVolumeId != request.SourceVolumeId {
		return nil, status.Errorf(codes.AlreadyExists, "snapshot %s is of %s", request.Name, snapshot.SourceVolumeId)
	}
	return &csi.CreateSnapshotResponse{Snapshot: snapshot}, nil
}

func (c *controller) DeleteSnapshot(_ context.Context, request *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	c.one.Lock()
	defer c.one.Unlock()
	if err := checkName(request.SnapshotId); err != nil {
		return nil, err
	}
	if err := remove(c.store.snapshot(request.SnapshotId)); err != nil {
		return nil, internal(err)
	}
	return &csi.DeleteSnapshotResponse{}, nil
}

// ListSnapshots is how the snapshotter asks whether one is ready: by its id.
func (c *controller) ListSnapshots(_ context.Context, request *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	c.one.Lock()
	defer c.one.Unlock()
	all, err := ids(c.store.snapshot(""))
	if err != nil {
		return nil, internal(err)
	}
	response := &csi.ListSnapshotsResponse{}
	for _, id := range all {
		snapshot, err := c.describe(id)
		if err != nil {
			return nil, err
		}
		if (request.SnapshotId == "" || request.SnapshotId == id) &&
			(request.SourceVolumeId == "" || request.SourceVolumeId == snapshot.SourceVolumeId) {
			response.Entries = append(response.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: snapshot})
		}
	}
	return response, nil
}

func (c *controller) describe(id string) (*csi.Snapshot, error) {
	directory := c.store.snapshot(id)
	source, err := note(directory, "source")
	if err != nil {
		return nil, internal(err)
	}
	has, err := size(directory)
	if err != nil {
		return nil, internal(err)
	}
	taken, err := made(directory)
	if err != nil {
		return nil, internal(err)
	}
	return &csi.Snapshot{
		SnapshotId: id, SourceVolumeId: source, SizeBytes: has,
		CreationTime: timestamppb.New(taken), ReadyToUse: true,
	}, nil
}

// existing is the directory of a disk, and the disk's size.
func (c *controller) existing(id string) (string, int64, error) {
	if err := checkName(id); err != nil {
		return "", 0, err
	}
	directory := c.store.volume(id)
	has, err := size(directory)
	if err != nil {
		return "", 0, internal(err)
	}
	if has == 0 {
		return "", 0, status.Errorf(codes.NotFound, "there is no disk %s", id)
	}
	return directory, has, nil
}

func checkName(name string) error {
	if !plain.MatchString(name) {
		return status.Errorf(codes.InvalidArgument, "%q is no name for a disk", name)
	}
	return nil
}

// checkCapabilities: a file system on one node at a time is all there is.
func checkCapabilities(wanted []*csi.VolumeCapability) error {
	for _, capability := range wanted {
		if capability.GetMount() == nil {
			return status.Error(codes.InvalidArgument, "raw block volumes are not to be had")
		}
		switch capability.GetAccessMode().GetMode() {
		case csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY:
		default:
			return status.Error(codes.InvalidArgument, "a disk can be used by one node at a time only")
		}
	}
	return nil
}

// wantedSize is in whole mebibytes, so that file system and disk end together.
func wantedSize(wanted *csi.CapacityRange) (int64, error) {
	bytes := wanted.GetRequiredBytes()
	if bytes == 0 {
		bytes = defaultSize
	}
	bytes = max((bytes+mebi-1)/mebi*mebi, smallest)
	if limit := wanted.GetLimitBytes(); bytes > largest || (limit > 0 && bytes > limit) {
		return 0, status.Errorf(codes.OutOfRange, "no disk of %d bytes is to be had, the largest has %d", bytes, int64(largest))
	}
	return bytes, nil
}

func internal(err error) error { return status.Error(codes.Internal, err.Error()) }
