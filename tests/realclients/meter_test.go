package realclients

import (
	"fmt"
	"time"

	types16 "github.com/lorenzodonini/ocpp-go/ocpp1.6/types"
	types201 "github.com/lorenzodonini/ocpp-go/ocpp2.0.1/types"
)

func meter16(wh float64) []types16.MeterValue {
	return []types16.MeterValue{{
		Timestamp: types16.NewDateTime(time.Now()),
		SampledValue: []types16.SampledValue{{
			Value: fmt.Sprint(wh), Unit: types16.UnitOfMeasureWh,
			Measurand: types16.MeasurandEnergyActiveImportRegister, Context: types16.ReadingContextSamplePeriodic,
		}},
	}}
}

func meter201(wh float64) []types201.MeterValue {
	return []types201.MeterValue{{
		Timestamp: *types201.NewDateTime(time.Now()),
		SampledValue: []types201.SampledValue{{
			Value: wh, Measurand: types201.MeasurandEnergyActiveImportRegister, Context: types201.ReadingContextSamplePeriodic,
			UnitOfMeasure: &types201.UnitOfMeasure{Unit: "Wh"},
		}},
	}}
}
