// Says what others make of what is shipped.
//
//	judge kstatus          what kstatus does (Flux, helm 4), of a JSON list of objects on standard input
//	judge argocd SCRIPT    what a health check in Lua does, as Argo CD runs it, of the same
//	judge bundle FOLDER    what OLM's validators do, of a bundle
//
// The answer is a JSON list of statuses and messages.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/api/pkg/validation"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 && args[0] == "bundle" {
		return bundle(args[1])
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	// Kubernetes' own decoder: whole numbers stay whole.
	var objects []any
	if err := utiljson.Unmarshal(text, &objects); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	check, err := checkOf(args)
	if err != nil {
		return err
	}
	found := make([]health, 0, len(objects))
	for _, read := range objects {
		object, ok := read.(map[string]any)
		if !ok {
			return fmt.Errorf("standard input: not an object: %v", read)
		}
		one, err := check(object)
		if err != nil {
			return fmt.Errorf("%v: %w", object["metadata"], err)
		}
		found = append(found, one)
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func checkOf(args []string) (func(map[string]any) (health, error), error) {
	switch {
	case len(args) == 1 && args[0] == "kstatus":
		return kstatus, nil
	case len(args) == 2 && args[0] == "argocd":
		script, err := os.ReadFile(args[1])
		if err != nil {
			return nil, err
		}
		return func(object map[string]any) (health, error) { return argocd(string(script), object) }, nil
	default:
		return nil, errors.New("usage: judge kstatus | judge argocd SCRIPT | judge bundle FOLDER")
	}
}

func kstatus(object map[string]any) (health, error) {
	result, err := status.Compute(&unstructured.Unstructured{Object: object})
	if err != nil {
		return health{}, err
	}
	return health{Status: result.Status.String(), Message: result.Message}, nil
}

func bundle(folder string) error {
	read, err := manifests.GetBundleFromDir(folder)
	if err != nil {
		return err
	}
	// All but those that pull the image, and the one that takes every "events" for the API that is gone.
	validators := append(validation.DefaultBundleValidators,
		validation.OperatorHubV2Validator, validation.StandardCategoriesValidator, validation.StandardCapabilitiesValidator,
		validation.ObjectValidator, validation.OperatorGroupValidator, validation.GoodPracticesValidator)
	found := []health{}
	for _, result := range validators.Validate(read.ObjectsToValidate()...) {
		for _, one := range append(result.Errors, result.Warnings...) {
			found = append(found, health{Status: string(one.Level), Message: one.Error()})
		}
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// The libraries are those that Argo CD opens (util/lua): no files, no processes.
func argocd(script string, object map[string]any) (health, error) {
	vm := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer vm.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName:   lua.OpenPackage,
		lua.BaseLibName:   lua.OpenBase,
		lua.TabLibName:    lua.OpenTable,
		lua.StringLibName: lua.OpenString,
		lua.MathLibName:   lua.OpenMath,
	} {
		if err := vm.CallByParam(lua.P{Fn: vm.NewFunction(open), NRet: 0, Protect: true}, lua.LString(name)); err != nil {
			return health{}, err
		}
	}
	vm.SetGlobal("obj", value(vm, object))
	if err := vm.DoString(script); err != nil {
		return health{}, err
	}
	answer, ok := vm.Get(-1).(*lua.LTable)
	if !ok {
		return health{}, fmt.Errorf("the script returned a %s", vm.Get(-1).Type())
	}
	found := health{Status: lua.LVAsString(answer.RawGetString("status")), Message: lua.LVAsString(answer.RawGetString("message"))}
	switch found.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
		return found, nil
	default:
		return health{}, fmt.Errorf("Argo CD knows no status %q", found.Status)
	}
}

func value(vm *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case map[string]any:
		table := vm.NewTable()
		for key, member := range from {
			table.RawSetString(key, value(vm, member))
		}
		return table
	case []any:
		table := vm.NewTable()
		for _, member := range from {
			table.Append(value(vm, member))
		}
		return table
	case string:
		return lua.LString(from)
	case int64:
		return lua.LNumber(from)
	case float64:
		return lua.LNumber(from)
	case bool:
		return lua.LBool(from)
	default:
		return lua.LNil
	}
}
