// Csi-disk is a storage driver whose disks are files in a directory that all
// nodes share, each with a file system of exactly the size that was asked for. So a
// disk fills up, grows, is attached to one node at a time and has snapshots,
// as a cloud's does, on a machine that has no other disk than its own.
//
//	csi-disk controller SOCKET DIRECTORY   makes, attaches, grows and copies disks
//	csi-disk node NAME DIRECTORY           mounts them, and registers with the kubelet
//
// DIRECTORY is the shared one, by its path on the nodes. Both need the node's
// root file system at /host and its process ids: mount and the like are the
// node's own programs, run in the node's mount namespace; those for XFS are in
// the driver's image.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const (
	driverName    = "disk.mainstay.dev"
	driverVersion = "1"
	// The kubelet's directories, as the kubelet sees them.
	pluginSocket       = "/var/lib/kubelet/plugins/" + driverName + "/csi.sock"
	registrationSocket = "/var/lib/kubelet/plugins_registry/" + driverName + "-reg.sock"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(args) != 3 {
		return fmt.Errorf("usage: csi-disk controller SOCKET DIRECTORY | csi-disk node NAME DIRECTORY")
	}
	store := store{directory: args[2]}
	switch args[0] {
	case "controller":
		if err := store.prepare(); err != nil {
			return err
		}
		return serve(ctx, args[1], func(server *grpc.Server) {
			csi.RegisterIdentityServer(server, identity{})
			csi.RegisterControllerServer(server, &controller{store: store})
		})
	case "node":
		ctx, cancel := context.WithCancelCause(ctx)
		go func() {
			cancel(serve(ctx, filepath.Join(hostRoot, registrationSocket), func(server *grpc.Server) {
				registration.RegisterRegistrationServer(server, registrar{})
			}))
		}()
		err := serve(ctx, filepath.Join(hostRoot, pluginSocket), func(server *grpc.Server) {
			csi.RegisterIdentityServer(server, identity{})
			csi.RegisterNodeServer(server, &node{store: store, name: args[1]})
		})
		if err == nil && context.Cause(ctx) != context.Canceled {
			err = context.Cause(ctx)
		}
		return err
	}
	return fmt.Errorf("%q is neither controller nor node", args[0])
}

// serve answers on a socket until the context ends.
func serve(ctx context.Context, socket string, register func(*grpc.Server)) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return err
	}
	// One that a killed driver left is in the way.
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(logged))
	register(server)
	go func() {
		<-ctx.Done()
		server.Stop()
	}()
	return server.Serve(listener)
}

// logged prints every failure: the sidecars' events shorten them.
func logged(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	response, err := handle(ctx, request)
	if err != nil {
		log.Printf("%s: %v", filepath.Base(info.FullMethod), err)
	}
	return response, err
}

// identity says who the driver is and what it can do.
type identity struct {
	csi.UnimplementedIdentityServer
}

func (identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: driverName, VendorVersion: driverVersion}, nil
}

func (identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{
		{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{
			Type: csi.PluginCapability_Service_CONTROLLER_SERVICE,
		}}},
		{Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: &csi.PluginCapability_VolumeExpansion{
			Type: csi.PluginCapability_VolumeExpansion_ONLINE,
		}}},
	}}, nil
}

func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

// registrar tells the kubelet where the driver is: what node-driver-registrar
// does for drivers that do not do it themselves.
type registrar struct {
	registration.UnimplementedRegistrationServer
}

func (registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              driverName,
		Endpoint:          pluginSocket,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (registrar) NotifyRegistrationStatus(_ context.Context, told *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !told.PluginRegistered {
		log.Printf("the kubelet refuses the driver: %s", told.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}
